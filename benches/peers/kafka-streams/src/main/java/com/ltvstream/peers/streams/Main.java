package com.ltvstream.peers.streams;

import com.ltvstream.peers.Arguments;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.Topology;

/**
 * The job in Kafka Streams: one processor from the input to the output; see the README beside.
 *
 * <p>Takes one more argument than all peers, {@code --query-port}; see {@link Queries}.
 */
public final class Main {
    private static final int POLL_MS = 100;

    private Main() { }

    public static void main(String[] args) throws Exception {
        Arguments arguments = Arguments.parse(args);
        int named = List.of(args).indexOf("--query-port");
        if (named < 0) {
            throw new IllegalArgumentException("--query-port is missing");
        }
        int port = Integer.parseInt(args[named + 1]);
        Progress progress = new Progress();
        try (Admin admin = Admin.create(Map.<String, Object>of(
                        AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.bootstrapServers()));
                KafkaStreams streams =
                        new KafkaStreams(topology(arguments, progress), Settings.of(arguments));
                Queries queries = new Queries(streams, port)) {
            streams.start();
            awaitLastCommit(arguments, progress, admin, streams);
        }
    }

    private static Topology topology(Arguments arguments, Progress progress) {
        return new Topology()
                .addSource("events", new ByteArrayDeserializer(), new ByteArrayDeserializer(),
                        arguments.input())
                .addProcessor("cohorts",
                        new CohortProcessor.Supplier(arguments.events() - 1, progress), "events")
                .addSink("published", arguments.output(), new ByteArraySerializer(),
                        new ByteArraySerializer(), "cohorts");
    }

    /**
     * Returns when the offset after the last event is committed: one transaction holds it, the
     * state and everything published before.
     */
    private static void awaitLastCommit(
            Arguments arguments, Progress progress, Admin admin, KafkaStreams streams)
            throws InterruptedException, ExecutionException {
        while (true) {
            KafkaStreams.State state = streams.state();
            if (state.hasStartedOrFinishedShuttingDown()) {
                throw new IllegalStateException("the application ended: " + state);
            }
            // After a restart there may be no record left, so none that would tell.
            boolean isIdle = state == KafkaStreams.State.RUNNING && !progress.hasBegun();
            if ((isIdle || progress.hasEnded())
                    && committed(admin, arguments) >= arguments.events()) {
                progress.begin();
                System.out.println("done");
                return;
            }
            Thread.sleep(POLL_MS);
        }
    }

    private static long committed(Admin admin, Arguments arguments)
            throws InterruptedException, ExecutionException {
        OffsetAndMetadata committed = admin.listConsumerGroupOffsets(arguments.group())
                .partitionsToOffsetAndMetadata().get()
                .get(new TopicPartition(arguments.input(), 0));
        return committed == null ? 0 : committed.offset();
    }
}
