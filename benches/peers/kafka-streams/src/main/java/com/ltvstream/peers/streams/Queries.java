package com.ltvstream.peers.streams;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/**
 * Answers {@code /customers/DAY} with how many customers the cohort of a day has in the store at that
 * moment, which may be more than is committed.
 */
final class Queries implements AutoCloseable {
    private static final String PATH = "/customers/";

    private final KafkaStreams streams;
    private final HttpServer server;

    Queries(KafkaStreams streams, int port) throws IOException {
        this.streams = streams;
        // Head and body of an answer are two writes, the second of which would wait for the
        // receiver's word on the first.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        server = HttpServer.create(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext(PATH, this::answer);
        server.start();
    }

    private void answer(HttpExchange exchange) throws IOException {
        int day = Integer.parseInt(exchange.getRequestURI().getPath().substring(PATH.length()));
        byte[] body = String.valueOf(customers(day)).getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private long customers(int day) {
        byte[] count = streams.store(StoreQueryParameters.fromNameAndType(CohortProcessor.COHORTS,
                        QueryableStoreTypes.<byte[], byte[]>keyValueStore()))
                .get(ByteBuffer.allocate(4).putInt(day).array());
        return count == null ? 0 : ByteBuffer.wrap(count).getLong();
    }

    @Override
    public void close() {
        server.stop(0);
    }
}
