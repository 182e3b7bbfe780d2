package com.ltvstream.peers.streams;

import com.ltvstream.peers.Arguments;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.StreamsConfig;

/** Settings of the application; those not named have the defaults of Kafka Streams. */
final class Settings {
    private static final int MEBIBYTE = 1 << 20;

    private Settings() { }

    static Properties of(Arguments arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments.group());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.bootstrapServers());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments.dataDir().toString());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        // One partition is one task, and a task has one thread.
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        // Each publication asks for a commit, once a second, so none is due by this. The default of
        // 100 ms with this guarantee writes more to the changelogs.
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 10_000);
        // Holds what changes between two commits several times over, and the customers seen of
        // late. Half and twice as much took the same CPU time.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG,
                128L * MEBIBYTE);
        settings.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksSettings.class);
        consume(settings, arguments);
        produce(settings);
        return settings;
    }

    private static void consume(Properties settings, Arguments arguments) {
        // A name that stays: after a crash the group takes the member back at once, and does not
        // wait for the session of the old one to time out.
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG),
                arguments.group());
        // One partition carries everything, so fetches and polls are larger than by default (1 MiB,
        // 1000 records), also where state is restored. The buffer holds two polls, so that the
        // partition is not paused while there is room for the next one.
        settings.put(StreamsConfig.consumerPrefix(
                ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 8 * MEBIBYTE);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
    }

    private static void produce(Properties settings) {
        // Nearly all that is sent is customers to the changelog, in bursts before each commit:
        // large batches compress well and are few requests.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG),
                MEBIBYTE / 2);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        // A burst fits, so that the stream thread does not wait for the broker; by default 32 MiB.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG),
                128L * MEBIBYTE);
    }
}
