package com.ltvstream.peers.duckdb;

import com.ltvstream.peers.Event;
import com.ltvstream.peers.Kind;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.stream.Stream;
import org.duckdb.DuckDBAppender;
import org.duckdb.DuckDBConnection;

/**
 * All events as Parquet files, each with so many of them in the order of the input.
 *
 * <p>A file is named by its first and its last offset, and is there with all of its events or not
 * at all. Events that are not in a file yet are read again after a crash.
 */
final class Segments implements AutoCloseable {
    private static final int EVENTS = 500_000;
    private static final String TABLE = """
            CREATE TABLE segment (
                record_offset BIGINT,
                customer_id VARCHAR,
                event_id VARCHAR,
                role VARCHAR,
                day INTEGER,
                gross BIGINT,
                proceeds BIGINT,
                net BIGINT,
                refers_to VARCHAR
            )""";

    private final DuckDBConnection database;
    private final Path folder;
    private long firstOffset;
    private long nextOffset;
    private DuckDBAppender appender;

    Segments(DuckDBConnection database, Path folder) throws SQLException, IOException {
        this.database = database;
        this.folder = folder;
        Files.createDirectories(folder);
        for (Path file : files()) {
            String name = file.getFileName().toString();
            String last = name.substring(name.indexOf('-') + 1, name.indexOf('.'));
            nextOffset = Math.max(nextOffset, Long.parseLong(last) + 1);
        }
        firstOffset = nextOffset;
        execute(TABLE);
        appender = database.createAppender("segment");
    }

    private List<Path> files() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(".parquet")).toList();
        }
    }

    /** The pattern of the files' names, as SQL wants it. */
    String pattern() {
        return folder.resolve("*.parquet").toString();
    }

    /** Where to read on. */
    long nextOffset() {
        return nextOffset;
    }

    void add(long offset, Event event) throws SQLException, IOException {
        String role = role(event);
        appender.beginRow().append(offset).append(event.customerId()).append(event.eventId())
                .append(role).append(event.day());
        if (role.equals("p") || role.equals("r")) {
            appender.append(event.gross()).append(event.proceeds()).append(event.net());
        } else {
            appender.appendNull().appendNull().appendNull();
        }
        appender.append(event.refersTo()).endRow();
        nextOffset = offset + 1;
        if (nextOffset - firstOffset >= EVENTS) {
            write();
        }
    }

    private static String role(Event event) {
        if (event.isPayment()) {
            return "p";
        }
        if (event.isRefund()) {
            return "r";
        }
        return event.kind() == Kind.VOID ? "v" : "o";
    }

    /** Makes a file of the events that are in none yet, if there are any. */
    void write() throws SQLException, IOException {
        if (nextOffset == firstOffset) {
            return;
        }
        appender.close();
        Path unfinished = folder.resolve("unfinished");
        execute("COPY segment TO '" + unfinished + "' (FORMAT parquet, COMPRESSION lz4_raw)");
        execute("TRUNCATE segment");
        sync(unfinished);
        String name = String.format("%018d-%018d.parquet", firstOffset, nextOffset - 1);
        Files.move(unfinished, folder.resolve(name), StandardCopyOption.ATOMIC_MOVE);
        sync(folder);
        firstOffset = nextOffset;
        appender = database.createAppender("segment");
    }

    private static void sync(Path path) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    private void execute(String sql) throws SQLException {
        try (Statement statement = database.createStatement()) {
            statement.execute(sql);
        }
    }

    @Override
    public void close() throws SQLException {
        appender.close();
    }
}
