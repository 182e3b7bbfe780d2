package com.ltvstream.peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A customer's events, and what a new one changes in the cohorts.
 *
 * <p>Stored as a run of events; see {@link #toBytes}.
 */
public final class Customer {
    /** Of a customer without payments. */
    private static final int NO_COHORT = Integer.MAX_VALUE;

    /** Where changes go. */
    public interface Changes {
        /** A customer comes to a cohort (1) or leaves it (-1). */
        void customer(int cohortDay, int by);

        /** Sums are added to an age of a cohort (1) or taken from it (-1). */
        void sums(int cohortDay, int age, Sums sums, int times);
    }

    /** Of one char of a string. */
    private static final int UTF8_BYTES_MAX = 3;

    private static final byte OTHER = 0;
    private static final byte PAYMENT = 1;
    private static final byte REFUND = 2;
    private static final byte VOID = 3;

    /** @param refersTo of a void: the event to take out; otherwise null */
    private record Entry(String id, byte role, int day, Sums sums, String refersTo) {
        static Entry of(Event event) {
            Sums sums = new Sums();
            if (event.isPayment()) {
                sums.gross = event.gross();
                sums.proceeds = event.proceeds();
                sums.net = event.net();
                sums.payments = 1;
                return new Entry(event.eventId(), PAYMENT, event.day(), sums, null);
            }
            if (event.isRefund()) {
                sums.refundedGross = event.gross();
                sums.refundedProceeds = event.proceeds();
                sums.refundedNet = event.net();
                return new Entry(event.eventId(), REFUND, event.day(), sums, null);
            }
            if (event.kind() == Kind.VOID) {
                return new Entry(event.eventId(), VOID, event.day(), null, event.refersTo());
            }
            return new Entry(event.eventId(), OTHER, event.day(), null, null);
        }

        int bytesMax() {
            int texts = id.length() + (refersTo == null ? 0 : refersTo.length());
            return 1 + 2 + UTF8_BYTES_MAX * texts + 4 + 3 * 8;
        }
    }

    private final List<Entry> entries = new ArrayList<>();

    /** Takes in an event and tells what it changes; false if it was known. */
    public boolean take(Event event, Changes changes) {
        for (Entry known : entries) {
            if (known.id.equals(event.eventId())) {
                return false;
            }
        }
        Entry entry = Entry.of(event);
        boolean isMoney = entry.role == PAYMENT || entry.role == REFUND;
        if (!isMoney && entry.role != VOID) {
            entries.add(entry);
            return true;
        }
        int before = cohort();
        if (entry.role == REFUND || entry.role == PAYMENT && entry.day >= before) {
            entries.add(entry);
            if (before != NO_COHORT && counts(entry)) {
                changes.sums(before, entry.day - before, entry.sums, 1);
            }
            return true;
        }
        // The first payment, an earlier one or a void: all is counted anew.
        count(before, changes, -1);
        entries.add(entry);
        count(cohort(), changes, 1);
        return true;
    }

    /** Adds all that counts to a cohort, or takes it from there. */
    private void count(int cohort, Changes changes, int times) {
        if (cohort == NO_COHORT) {
            return;
        }
        changes.customer(cohort, times);
        for (Entry entry : entries) {
            if (entry.sums != null && counts(entry)) {
                changes.sums(cohort, entry.day - cohort, entry.sums, times);
            }
        }
    }

    /** The day of the first payment that counts. */
    private int cohort() {
        int first = NO_COHORT;
        for (Entry entry : entries) {
            if (entry.role == PAYMENT && entry.day < first && counts(entry)) {
                first = entry.day;
            }
        }
        return first;
    }

    private boolean counts(Entry entry) {
        for (Entry other : entries) {
            if (other.role == VOID && entry.id.equals(other.refersTo)) {
                return false;
            }
        }
        return true;
    }

    /**
     * Each event as role (1 byte), id (length in 1 byte, UTF-8), day (4 bytes), and then the three
     * amounts of money (8 bytes each) or the id that a void names.
     */
    public byte[] toBytes() {
        ByteBuffer out = ByteBuffer.allocate(entries.stream().mapToInt(Entry::bytesMax).sum());
        for (Entry entry : entries) {
            out.put(entry.role);
            putText(out, entry.id);
            out.putInt(entry.day);
            switch (entry.role) {
                case PAYMENT -> out.putLong(entry.sums.gross).putLong(entry.sums.proceeds)
                        .putLong(entry.sums.net);
                case REFUND -> out.putLong(entry.sums.refundedGross)
                        .putLong(entry.sums.refundedProceeds).putLong(entry.sums.refundedNet);
                case VOID -> putText(out, entry.refersTo);
                default -> { }
            }
        }
        byte[] bytes = new byte[out.position()];
        out.flip().get(bytes);
        return bytes;
    }

    /** The inverse of {@link #toBytes}; of null: a customer without events. */
    public static Customer of(byte[] bytes) {
        Customer customer = new Customer();
        if (bytes == null) {
            return customer;
        }
        ByteBuffer in = ByteBuffer.wrap(bytes);
        while (in.hasRemaining()) {
            customer.entries.add(entry(in));
        }
        return customer;
    }

    private static Entry entry(ByteBuffer in) {
        byte role = in.get();
        String id = text(in);
        int day = in.getInt();
        Sums sums = null;
        String refersTo = null;
        switch (role) {
            case PAYMENT -> {
                sums = new Sums();
                sums.gross = in.getLong();
                sums.proceeds = in.getLong();
                sums.net = in.getLong();
                sums.payments = 1;
            }
            case REFUND -> {
                sums = new Sums();
                sums.refundedGross = in.getLong();
                sums.refundedProceeds = in.getLong();
                sums.refundedNet = in.getLong();
            }
            case VOID -> refersTo = text(in);
            default -> { }
        }
        return new Entry(id, role, day, sums, refersTo);
    }

    private static void putText(ByteBuffer out, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.put((byte) bytes.length).put(bytes);
    }

    private static String text(ByteBuffer in) {
        byte[] bytes = new byte[in.get() & 0xFF];
        in.get(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
