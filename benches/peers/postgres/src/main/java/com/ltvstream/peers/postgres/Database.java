package com.ltvstream.peers.postgres;

import com.ltvstream.peers.OutputTopic;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;

/** The state in PostgreSQL; {@code schema.sql} has its tables and what a batch does to them. */
final class Database implements AutoCloseable {
    /** Longer than a server needs to recover from a crash. */
    private static final Duration START_MAX = Duration.ofMinutes(2);
    private static final String COPY = "COPY staged FROM STDIN (FORMAT binary)";
    private static final String CHANGED = """
            SELECT cohort_day, customers, age, gross, proceeds, net,
                refunded_gross, refunded_proceeds, refunded_net, payments
            FROM cohorts JOIN cohort_sums USING (cohort_day)
            WHERE changed_until = (SELECT next_offset FROM progress)
            ORDER BY cohort_day""";

    private final Connection connection;

    Database(String jdbcUrl) throws SQLException, IOException, InterruptedException {
        connection = connect(jdbcUrl);
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement();
                InputStream schema = Database.class.getResourceAsStream("schema.sql")) {
            statement.execute(new String(schema.readAllBytes(), StandardCharsets.UTF_8));
        }
        connection.commit();
        // Numbers in binary from the first execution on. Not before: it prepares a whole script
        // before it runs any of it.
        connection.unwrap(PGConnection.class).setPrepareThreshold(-1);
    }

    /** Waits for a server that is still starting. */
    private static Connection connect(String jdbcUrl) throws SQLException, InterruptedException {
        Properties properties = new Properties();
        // Without the notices of "IF NOT EXISTS".
        properties.setProperty("options", "-c client_min_messages=warning");
        Instant deadline = Instant.now().plus(START_MAX);
        while (true) {
            try {
                return DriverManager.getConnection(jdbcUrl, properties);
            } catch (SQLException e) {
                if (Instant.now().isAfter(deadline)) {
                    throw e;
                }
                Thread.sleep(100);
            }
        }
    }

    /** Where to read on. */
    long nextOffset() throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT next_offset FROM progress")) {
            rows.next();
            return rows.getLong(1);
        }
    }

    /** Takes in a batch: all of it or nothing. */
    void take(Batch batch) throws SQLException {
        ByteBuffer data = batch.copyData();
        CopyIn copy = connection.unwrap(PGConnection.class).getCopyAPI().copyIn(COPY);
        copy.writeToCopy(data.array(), data.position(), data.remaining());
        copy.endCopy();
        try (PreparedStatement take = connection.prepareStatement("SELECT take_batch(?, ?)")) {
            take.setLong(1, batch.firstOffset());
            take.setLong(2, batch.nextOffset());
            take.execute();
        }
        connection.commit();
    }

    /**
     * Publishes the cohorts that the last batch changed.
     *
     * <p>A batch is taken in only after those of the one before are published, so that these are
     * all that a crash can have kept from the topic.
     */
    void publishChanged(OutputTopic output) throws SQLException {
        try (PreparedStatement changed = connection.prepareStatement(CHANGED);
                ResultSet rows = changed.executeQuery()) {
            output.publishAll(rows);
        }
        connection.commit();
        output.flush();
    }

    @Override
    public void close() throws SQLException {
        connection.close();
    }
}
