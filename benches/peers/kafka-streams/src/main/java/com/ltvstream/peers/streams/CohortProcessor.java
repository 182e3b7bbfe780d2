package com.ltvstream.peers.streams;

import com.ltvstream.peers.Cohort;
import com.ltvstream.peers.Customer;
import com.ltvstream.peers.Event;
import com.ltvstream.peers.EventReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Set;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** Takes every event into its customer and the cohorts, and publishes the cohorts that changed. */
final class CohortProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    private static final String CUSTOMERS = "customers";
    static final String COHORTS = "cohorts";
    private static final Duration PUBLISHED_EVERY = Duration.ofSeconds(1);

    private final long lastOffset;
    private final Progress progress;
    private final EventReader reader = new EventReader();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> customers;
    private Cohorts cohorts;

    private CohortProcessor(long lastOffset, Progress progress) {
        this.lastOffset = lastOffset;
        this.progress = progress;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        customers = context.getStateStore(CUSTOMERS);
        cohorts = new Cohorts(context.getStateStore(COHORTS));
        context.schedule(PUBLISHED_EVERY, PunctuationType.WALL_CLOCK_TIME, this::publish);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        progress.begin();
        Event event = reader.read(record.value());
        byte[] key = event.customerId().getBytes(StandardCharsets.UTF_8);
        Customer customer = Customer.of(customers.get(key));
        if (customer.take(event, cohorts)) {
            customers.put(key, customer.toBytes());
        }
        if (context.recordMetadata().orElseThrow().offset() == lastOffset) {
            // At once, so that the offset is not committed before the last cohorts.
            publish(context.currentSystemTimeMs());
            progress.end();
        }
    }

    private void publish(long nowMs) {
        cohorts.drainChanged((day, cohort) -> context.forward(
                new Record<>(Cohort.outputKey(day), cohort.outputValue(), nowMs)));
        // Readers see them after the commit.
        context.commit();
    }

    /** Of processors with their stores. */
    record Supplier(long lastOffset, Progress progress)
            implements ProcessorSupplier<byte[], byte[], byte[], byte[]> {
        @Override
        public Processor<byte[], byte[], byte[], byte[]> get() {
            return new CohortProcessor(lastOffset, progress);
        }

        @Override
        public Set<StoreBuilder<?>> stores() {
            return Set.of(store(CUSTOMERS), store(COHORTS));
        }

        /** The cache keeps a value that changes often from being written before each commit. */
        private static StoreBuilder<?> store(String name) {
            return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name),
                    Serdes.ByteArray(), Serdes.ByteArray()).withCachingEnabled();
        }
    }
}
