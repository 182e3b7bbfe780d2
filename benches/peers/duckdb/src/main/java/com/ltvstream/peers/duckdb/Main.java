package com.ltvstream.peers.duckdb;

import com.ltvstream.peers.Arguments;
import com.ltvstream.peers.EventReader;
import com.ltvstream.peers.InputTopic;
import com.ltvstream.peers.OutputTopic;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.duckdb.DuckDBConnection;

/**
 * The job in DuckDB, the batch way: events are only stored, and one query over all of them computes
 * everything anew.
 *
 * <p>It runs once, when all events are stored, and only then are cohorts published: each further
 * time would cost as much again, and more with every event. What this peer costs is therefore the
 * least such a way can cost, for results that are as old as the last run.
 */
public final class Main {
    private static final Duration WAIT_MAX = Duration.ofMillis(100);

    private Main() {
    }

    public static void main(String[] given) throws Exception {
        Arguments arguments = Arguments.parse(given);
        try (DuckDBConnection database = database(arguments)) {
            try (Segments segments = new Segments(database, arguments.dataDir())) {
                store(arguments, segments);
                publish(arguments, database, segments.pattern());
            }
        }
        System.out.println("done");
    }

    private static DuckDBConnection database(Arguments arguments) throws SQLException {
        Properties properties = new Properties();
        // One core.
        properties.setProperty("threads", "1");
        // What does not fit goes to disk.
        properties.setProperty("memory_limit", "2GB");
        properties.setProperty("temp_directory", arguments.dataDir().resolve("tmp").toString());
        return DriverManager.getConnection("jdbc:duckdb:", properties)
                .unwrap(DuckDBConnection.class);
    }

    private static void store(Arguments arguments, Segments segments)
            throws SQLException, IOException {
        EventReader reader = new EventReader();
        try (InputTopic input = new InputTopic(arguments, segments.nextOffset())) {
            while (!input.isAtEnd()) {
                for (ConsumerRecord<byte[], byte[]> message : input.poll(WAIT_MAX)) {
                    segments.add(message.offset(), reader.read(message.value()));
                }
            }
        }
        segments.write();
    }

    private static void publish(Arguments arguments, DuckDBConnection database, String segments)
            throws SQLException, IOException {
        String query;
        try (InputStream in = Main.class.getResourceAsStream("recompute.sql")) {
            query = new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .replace("$segments", segments);
        }
        try (OutputTopic output = new OutputTopic(arguments);
                Statement statement = database.createStatement();
                ResultSet rows = statement.executeQuery(query)) {
            output.publishAll(rows);
            output.flush();
        }
    }
}
