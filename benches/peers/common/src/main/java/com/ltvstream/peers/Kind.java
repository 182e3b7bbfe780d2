package com.ltvstream.peers;

/** Kinds of events, in the order of the input schema. */
public enum Kind {
    INSTALL, PAYWALL_VIEW, TRIAL_STARTED, PURCHASE, RENEWAL, REFUND, CANCELLATION, UNCANCELLATION,
    BILLING_ISSUE, GRACE_PERIOD, EXPIRATION, ATTRIBUTION, VOID, FORGET;

    private static final Kind[] ALL = values();

    static Kind of(int symbol) {
        return ALL[symbol];
    }
}
