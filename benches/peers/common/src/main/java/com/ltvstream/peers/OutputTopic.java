package com.ltvstream.peers;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Publishes cohorts, at least once: a value is whole, so a second copy does no harm. */
public final class OutputTopic implements AutoCloseable {
    private final String topic;
    private final KafkaProducer<byte[], byte[]> producer;
    private volatile Exception failure;

    public OutputTopic(Arguments arguments) {
        topic = arguments.output();
        producer = new KafkaProducer<>(
                Map.of(
                        ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.bootstrapServers(),
                        ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                        ProducerConfig.ACKS_CONFIG, "all",
                        ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4",
                        // Cohorts come in bursts that end with a flush, so waiting costs nothing.
                        ProducerConfig.LINGER_MS_CONFIG, 100,
                        ProducerConfig.BATCH_SIZE_CONFIG, 512 << 10),
                new ByteArraySerializer(), new ByteArraySerializer());
    }

    public void publish(int day, Cohort cohort) {
        var message = new ProducerRecord<>(topic, Cohort.outputKey(day), cohort.outputValue());
        producer.send(message, (unused, error) -> failure = error == null ? failure : error);
    }

    /**
     * Publishes cohorts from rows of day, customers and age, and the sums as in {@link Sums}; all
     * rows of a day come together.
     */
    public void publishAll(ResultSet rows) throws SQLException {
        Cohort cohort = null;
        int cohortDay = 0;
        while (rows.next()) {
            int day = rows.getInt(1);
            if (cohort == null || day != cohortDay) {
                if (cohort != null) {
                    publish(cohortDay, cohort);
                }
                cohort = new Cohort();
                cohort.customers = rows.getLong(2);
                cohortDay = day;
            }
            cohort.ages.put(rows.getInt(3), sums(rows));
        }
        if (cohort != null) {
            publish(cohortDay, cohort);
        }
    }

    private static Sums sums(ResultSet rows) throws SQLException {
        Sums sums = new Sums();
        sums.gross = rows.getLong(4);
        sums.proceeds = rows.getLong(5);
        sums.net = rows.getLong(6);
        sums.refundedGross = rows.getLong(7);
        sums.refundedProceeds = rows.getLong(8);
        sums.refundedNet = rows.getLong(9);
        sums.payments = rows.getLong(10);
        return sums;
    }

    /** Returns when all is in the topic. */
    public void flush() {
        producer.flush();
        if (failure != null) {
            throw new IllegalStateException("not published", failure);
        }
    }

    @Override
    public void close() {
        producer.close();
    }
}
