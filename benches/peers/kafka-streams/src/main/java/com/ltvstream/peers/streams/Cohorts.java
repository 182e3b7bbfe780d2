package com.ltvstream.peers.streams;

import com.ltvstream.peers.Cohort;
import com.ltvstream.peers.Customer;
import com.ltvstream.peers.Sums;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.BiConsumer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The cohorts, as objects and in a store.
 *
 * <p>Every change is in the store before the next record, so a commit at any time has all of them.
 * The store holds each age of a cohort by itself: a change writes tens of bytes, not the cohort.
 *
 * <pre>
 * key                         value
 * day (4 bytes)               customers (8 bytes)
 * day (4 bytes), age (4)      seven sums (8 bytes each)
 * </pre>
 */
final class Cohorts implements Customer.Changes {
    private final KeyValueStore<byte[], byte[]> store;
    private final Map<Integer, Cohort> byDay = new HashMap<>();
    private final TreeSet<Integer> changed = new TreeSet<>();

    /** Those of the store; all count as changed, as what was published before is not known. */
    Cohorts(KeyValueStore<byte[], byte[]> store) {
        this.store = store;
        try (KeyValueIterator<byte[], byte[]> rows = store.all()) {
            rows.forEachRemaining(this::load);
        }
    }

    private void load(KeyValue<byte[], byte[]> row) {
        ByteBuffer key = ByteBuffer.wrap(row.key);
        ByteBuffer value = ByteBuffer.wrap(row.value);
        Cohort cohort = changing(key.getInt());
        if (!key.hasRemaining()) {
            cohort.customers = value.getLong();
            return;
        }
        Sums sums = new Sums();
        sums.gross = value.getLong();
        sums.proceeds = value.getLong();
        sums.net = value.getLong();
        sums.refundedGross = value.getLong();
        sums.refundedProceeds = value.getLong();
        sums.refundedNet = value.getLong();
        sums.payments = value.getLong();
        cohort.ages.put(key.getInt(), sums);
    }

    @Override
    public void customer(int cohortDay, int by) {
        Cohort cohort = changing(cohortDay);
        cohort.customers += by;
        store.put(ByteBuffer.allocate(4).putInt(cohortDay).array(),
                ByteBuffer.allocate(8).putLong(cohort.customers).array());
    }

    @Override
    public void sums(int cohortDay, int age, Sums sums, int times) {
        Cohort cohort = changing(cohortDay);
        cohort.add(age, sums, times);
        Sums total = cohort.ages.get(age);
        store.put(ByteBuffer.allocate(8).putInt(cohortDay).putInt(age).array(),
                ByteBuffer.allocate(7 * 8)
                        .putLong(total.gross).putLong(total.proceeds).putLong(total.net)
                        .putLong(total.refundedGross).putLong(total.refundedProceeds)
                        .putLong(total.refundedNet).putLong(total.payments).array());
    }

    private Cohort changing(int day) {
        changed.add(day);
        return byDay.computeIfAbsent(day, unused -> new Cohort());
    }

    /** Hands over each cohort that has changed since the last time, with its day. */
    void drainChanged(BiConsumer<Integer, Cohort> to) {
        changed.forEach(day -> to.accept(day, byDay.get(day)));
        changed.clear();
    }
}
