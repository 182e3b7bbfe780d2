package com.ltvstream.peers.flink;

import java.util.concurrent.CompletableFuture;

/** What the job tells the main thread; both are in one process. */
final class Progress {
    private static final CompletableFuture<Void> READY = new CompletableFuture<>();
    private static final CompletableFuture<Void> ALL_TAKEN = new CompletableFuture<>();

    private Progress() { }

    /** The first record is about to be taken, or there is none left. */
    static void ready() {
        if (!READY.isDone() && READY.complete(null)) {
            System.out.println("ready");
        }
    }

    /** All records are on their way through the job. */
    static void allTaken() {
        ALL_TAKEN.complete(null);
    }

    static CompletableFuture<Void> whenAllTaken() {
        return ALL_TAKEN;
    }
}
