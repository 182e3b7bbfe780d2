package com.ltvstream.peers;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The input from an offset on, for peers that keep the offset themselves.
 *
 * <p>Says {@code ready} when the first records are there, or at once when none are left. Not for
 * more than one thread.
 */
public final class InputTopic implements AutoCloseable {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final long events;
    private long nextOffset;
    private boolean isReady;

    public InputTopic(Arguments arguments, long nextOffset) {
        this.events = arguments.events();
        this.nextOffset = nextOffset;
        consumer = new KafkaConsumer<>(
                Map.of(
                        ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.bootstrapServers(),
                        ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                        ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
                        // A missing offset is an error, never a reason to begin elsewhere.
                        ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none",
                        // Few large fetches: the peer is behind, not waiting for single records.
                        ConsumerConfig.FETCH_MIN_BYTES_CONFIG, 1 << 20,
                        ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 100,
                        ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 8 << 20,
                        ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000),
                new ByteArrayDeserializer(), new ByteArrayDeserializer());
        TopicPartition partition = new TopicPartition(arguments.input(), 0);
        consumer.assign(List.of(partition));
        consumer.seek(partition, nextOffset);
        if (isAtEnd()) {
            sayReady();
        }
    }

    /** The next records; none when none came in time. */
    public Iterable<ConsumerRecord<byte[], byte[]>> poll(Duration timeout) {
        var records = consumer.poll(timeout);
        for (TopicPartition partition : records.partitions()) {
            var some = records.records(partition);
            nextOffset = some.get(some.size() - 1).offset() + 1;
            sayReady();
        }
        return records;
    }

    /** Whether all records have been polled. */
    public boolean isAtEnd() {
        return nextOffset >= events;
    }

    private void sayReady() {
        if (!isReady) {
            System.out.println("ready");
            isReady = true;
        }
    }

    @Override
    public void close() {
        consumer.close();
    }
}
