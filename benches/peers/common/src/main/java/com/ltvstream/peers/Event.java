package com.ltvstream.peers;

/**
 * What the job needs of an event.
 *
 * @param day      UTC day, in days since 1970-01-01
 * @param gross    micro-units of US dollars, as are {@code proceeds} and {@code net}
 * @param refersTo of a void: the id of the event to take out; otherwise null
 */
public record Event(
        String customerId,
        String eventId,
        Kind kind,
        boolean isSandbox,
        int day,
        long gross,
        long proceeds,
        long net,
        String refersTo) {

    public boolean isPayment() {
        return !isSandbox && gross > 0 && (kind == Kind.PURCHASE || kind == Kind.RENEWAL);
    }

    public boolean isRefund() {
        return !isSandbox && kind == Kind.REFUND;
    }
}
