package com.ltvstream.peers.streams;

/** How far the processor is; tells the outside that it begins. */
final class Progress {
    private volatile boolean begun;
    private volatile boolean ended;

    /** A record is about to be taken, or none is left. */
    void begin() {
        if (!begun) {
            begun = true;
            System.out.println("ready");
        }
    }

    /** The last record is processed, but not committed. */
    void end() {
        ended = true;
    }

    boolean hasBegun() {
        return begun;
    }

    boolean hasEnded() {
        return ended;
    }
}
