package com.ltvstream.peers.postgres;

import com.ltvstream.peers.Arguments;
import com.ltvstream.peers.EventReader;
import com.ltvstream.peers.InputTopic;
import java.time.Duration;
import java.util.concurrent.SynchronousQueue;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** Reads batches in a thread of its own: the next one while the database takes in the last. */
final class Batches {
    /** Large enough that a commit and the cohorts that nearly every batch changes cost little. */
    private static final int EVENTS_MAX = 100_000;
    /** How long a batch waits for more events. */
    private static final Duration AGE_MAX = Duration.ofSeconds(1);
    private static final Duration WAIT_MAX = Duration.ofMillis(100);

    private final InputTopic input;
    private final SynchronousQueue<Batch> handOver = new SynchronousQueue<>();

    Batches(Arguments arguments, long nextOffset) {
        input = new InputTopic(arguments, nextOffset);
        Thread thread = new Thread(() -> read(nextOffset), "reader");
        thread.setDaemon(true);
        thread.setUncaughtExceptionHandler((unused, error) -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
        });
        thread.start();
    }

    /** The next batch. */
    Batch take() throws InterruptedException {
        return handOver.take();
    }

    private void read(long nextOffset) {
        EventReader reader = new EventReader();
        try (input) {
            Batch batch = new Batch(nextOffset);
            long due = System.nanoTime();
            while (!input.isAtEnd() || batch.events() > 0) {
                for (ConsumerRecord<byte[], byte[]> message : input.poll(WAIT_MAX)) {
                    if (batch.events() == 0) {
                        due = System.nanoTime() + AGE_MAX.toNanos();
                    }
                    batch.add(message.offset(), reader.read(message.value()));
                }
                boolean isFull = batch.events() >= EVENTS_MAX || input.isAtEnd();
                if (batch.events() > 0 && (isFull || System.nanoTime() - due > 0)) {
                    handOver.put(batch);
                    batch = new Batch(batch.nextOffset());
                }
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException("nothing interrupts this thread", e);
        }
    }
}
