package com.ltvstream.peers.flink;

import com.ltvstream.peers.Arguments;
import com.ltvstream.peers.Cohort;
import com.ltvstream.peers.Event;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.CoreOptions;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.RecoveryClaimMode;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend.PriorityQueueStateType;
import org.apache.flink.state.rocksdb.PredefinedOptions;
import org.apache.flink.state.rocksdb.RocksDBConfigurableOptions;
import org.apache.flink.state.rocksdb.RocksDBOptions;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The job's steps and settings. */
final class Job {
    private final Arguments arguments;
    private final DataDir dataDir;

    Job(Arguments arguments, DataDir dataDir) {
        this.arguments = arguments;
        this.dataDir = dataDir;
    }

    JobClient start() throws Exception {
        Configuration settings = new Configuration();
        setTasks(settings);
        setCheckpoints(settings);
        setState(settings);
        resume(settings);
        StreamExecutionEnvironment job =
                StreamExecutionEnvironment.createLocalEnvironment(1, settings);
        job.fromSource(source(), WatermarkStrategy.noWatermarks(), "records").uid("records")
                .map(new Decode(arguments.events()), new EventType()).uid("decode")
                .keyBy(Event::customerId, Types.STRING)
                .process(new Customers(), PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO)
                .uid("customers")
                .keyBy(Change::cohortDay, Types.INT)
                .process(new Cohorts(), Cohorts.OUTPUT).uid("cohorts")
                .sinkTo(sink()).uid("published");
        return job.executeAsync();
    }

    private void setTasks(Configuration to) {
        // No step keeps or alters what it was given: records need no copies.
        to.set(PipelineOptions.OBJECT_REUSE, true);
        // A type without a serializer of its own is an error, instead of slow.
        to.set(PipelineOptions.GENERIC_TYPES, false);
        // No step asks for event time.
        to.set(PipelineOptions.AUTO_WATERMARK_INTERVAL, Duration.ZERO);
        // A fault ends the process: who starts it again resumes from the checkpoint.
        to.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        to.set(CoreOptions.TMP_DIRS, dataDir.scratch().toString());
    }

    private void setCheckpoints(Configuration to) {
        to.set(CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE, CheckpointingMode.EXACTLY_ONCE);
        // How long output waits to be committed, and what a crash costs; shorter costs CPU.
        to.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofSeconds(10));
        // Only what RocksDB has written since the one before.
        to.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        to.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY,
                dataDir.checkpoints().toUri().toString());
        to.set(CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION,
                ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
    }

    private void setState(Configuration to) {
        to.set(StateBackendOptions.STATE_BACKEND, "rocksdb");
        // RocksDB's caches and write buffers, shared by both steps with state; 128 MiB if not set.
        to.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(512));
        to.set(RocksDBOptions.PREDEFINED_OPTIONS, PredefinedOptions.FLASH_SSD_OPTIMIZED.name());
        // Most customers that are looked up in a file are not in it.
        to.set(RocksDBConfigurableOptions.USE_BLOOM_FILTER, true);
        // Timers are few: two per changed cohort.
        to.set(RocksDBOptions.TIMER_SERVICE_FACTORY, PriorityQueueStateType.HEAP);
    }

    private void resume(Configuration from) throws IOException {
        Optional<Path> newest = dataDir.newest();
        if (newest.isEmpty()) {
            return;
        }
        from.set(StateRecoveryOptions.SAVEPOINT_PATH, newest.get().toUri().toString());
        // A checkpoint is built upon, and deleted when it is no longer of use. Not so a savepoint:
        // Flink 2.2 would look for its files in the folder of the next checkpoint.
        from.set(StateRecoveryOptions.RESTORE_MODE,
                newest.get().startsWith(dataDir.savepoints())
                        ? RecoveryClaimMode.NO_CLAIM : RecoveryClaimMode.CLAIM);
    }

    private KafkaSource<byte[]> source() {
        return KafkaSource.<byte[]>builder()
                .setBootstrapServers(arguments.bootstrapServers())
                .setGroupId(arguments.group())
                .setTopics(arguments.input())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setDeserializer(
                        KafkaRecordDeserializationSchema.valueOnly(ByteArrayDeserializer.class))
                // There is one partition: larger fetches save round trips.
                .setProperty(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, "8388608")
                // Fewer turns between the threads that fetch and process.
                .setProperty(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "5000")
                .build();
    }

    private KafkaSink<Tuple2<Integer, byte[]>> sink() {
        String output = arguments.output();
        KafkaRecordSerializationSchema<Tuple2<Integer, byte[]>> serializer =
                (cohort, context, time) -> new ProducerRecord<>(
                        output, Cohort.outputKey(cohort.f0), cohort.f1);
        return KafkaSink.<Tuple2<Integer, byte[]>>builder()
                .setBootstrapServers(arguments.bootstrapServers())
                .setRecordSerializer(serializer)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(arguments.group())
                // Longer than any checkpoint takes, and within the 15 minutes that brokers allow.
                .setProperty(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, "600000")
                // Cohorts are published in bursts, and seen at the next checkpoint: no hurry.
                .setProperty(ProducerConfig.LINGER_MS_CONFIG, "50")
                .setProperty(ProducerConfig.BATCH_SIZE_CONFIG, "262144")
                .setProperty(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4")
                .build();
    }
}
