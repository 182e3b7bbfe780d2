package com.ltvstream.peers.postgres;

import com.ltvstream.peers.Event;
import com.ltvstream.peers.Kind;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** Events in PostgreSQL's binary COPY format, with the columns of the table {@code staged}. */
final class Batch {
    private static final byte[] SIGNATURE =
            "PGCOPY\n\377\r\n\0".getBytes(StandardCharsets.ISO_8859_1);
    private static final short COLUMNS = 9;
    private static final short END = -1;
    private static final int NULL = -1;
    /** A row without its texts, rounded up. */
    private static final int FIXED_BYTES_MAX = 128;
    private static final int TYPICAL_BYTES = 12 << 20;

    private final long firstOffset;
    private long nextOffset;
    private int events;
    private ByteBuffer rows = ByteBuffer.allocate(TYPICAL_BYTES);

    Batch(long firstOffset) {
        this.firstOffset = firstOffset;
        nextOffset = firstOffset;
        rows.put(SIGNATURE).putInt(0).putInt(0); // no flags, no header extension
    }

    void add(long offset, Event event) {
        byte[] customerId = event.customerId().getBytes(StandardCharsets.UTF_8);
        byte[] eventId = event.eventId().getBytes(StandardCharsets.UTF_8);
        byte[] refersTo = event.refersTo() == null
                ? null : event.refersTo().getBytes(StandardCharsets.UTF_8);
        char role = role(event);
        boolean isMoney = role == 'p' || role == 'r';
        reserve(FIXED_BYTES_MAX + customerId.length + eventId.length
                + (refersTo == null ? 0 : refersTo.length));
        rows.putShort(COLUMNS);
        putLong(offset);
        putAmount(isMoney, event.gross());
        putAmount(isMoney, event.proceeds());
        putAmount(isMoney, event.net());
        rows.putInt(Integer.BYTES).putInt(event.day());
        rows.putInt(Byte.BYTES).put((byte) role);
        putText(customerId);
        putText(eventId);
        putText(refersTo);
        events++;
        nextOffset = offset + 1;
    }

    private static char role(Event event) {
        if (event.isPayment()) {
            return 'p';
        }
        if (event.isRefund()) {
            return 'r';
        }
        return event.kind() == Kind.VOID ? 'v' : 'o';
    }

    private void putAmount(boolean isMoney, long amount) {
        if (isMoney) {
            putLong(amount);
        } else {
            rows.putInt(NULL);
        }
    }

    private void putLong(long value) {
        rows.putInt(Long.BYTES).putLong(value);
    }

    private void putText(byte[] text) {
        if (text == null) {
            rows.putInt(NULL);
        } else {
            rows.putInt(text.length).put(text);
        }
    }

    private void reserve(int bytes) {
        if (rows.remaining() < bytes) {
            rows = ByteBuffer.allocate(2 * rows.capacity()).put(rows.flip());
        }
    }

    long firstOffset() {
        return firstOffset;
    }

    long nextOffset() {
        return nextOffset;
    }

    int events() {
        return events;
    }

    /** All rows, once no more are added. */
    ByteBuffer copyData() {
        reserve(FIXED_BYTES_MAX);
        return rows.putShort(END).flip();
    }
}
