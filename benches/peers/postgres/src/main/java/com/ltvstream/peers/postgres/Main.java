package com.ltvstream.peers.postgres;

import com.ltvstream.peers.Arguments;
import com.ltvstream.peers.OutputTopic;
import java.util.List;

/**
 * The job in PostgreSQL: batches of events go in by COPY, and SQL keeps the sums up to date.
 *
 * <p>A batch, what follows from it and the next offset are one transaction. Takes one more argument
 * than all peers, {@code --jdbc-url}, and keeps nothing in {@code --data-dir}: the state is the
 * server's. See {@code schema.sql}.
 */
public final class Main {
    private Main() {
    }

    public static void main(String[] given) throws Exception {
        Arguments arguments = Arguments.parse(given);
        String jdbcUrl = given[List.of(given).indexOf("--jdbc-url") + 1];
        try (Database database = new Database(jdbcUrl);
                OutputTopic output = new OutputTopic(arguments)) {
            database.publishChanged(output);
            long nextOffset = database.nextOffset();
            Batches batches = new Batches(arguments, nextOffset);
            while (nextOffset < arguments.events()) {
                Batch batch = batches.take();
                database.take(batch);
                database.publishChanged(output);
                nextOffset = batch.nextOffset();
            }
        }
        System.out.println("done");
    }
}
