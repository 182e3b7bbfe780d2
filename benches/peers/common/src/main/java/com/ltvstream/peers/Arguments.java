package com.ltvstream.peers;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** What every peer is started with; see the README beside. */
public record Arguments(
        String bootstrapServers,
        String input,
        String output,
        String group,
        long events,
        Path dataDir) {

    public static Arguments parse(String[] arguments) {
        Map<String, String> given = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            given.put(arguments[i], arguments[i + 1]);
        }
        return new Arguments(
                required(given, "--bootstrap-servers"),
                required(given, "--input"),
                required(given, "--output"),
                required(given, "--group"),
                Long.parseLong(required(given, "--events")),
                Path.of(required(given, "--data-dir")));
    }

    private static String required(Map<String, String> given, String name) {
        String value = given.get(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return value;
    }
}
