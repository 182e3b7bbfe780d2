package com.ltvstream.peers.flink;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Stream;

/** What the job keeps on disk. */
final class DataDir {
    /** Written last: a checkpoint without it is not complete. */
    private static final String METADATA = "_metadata";

    private final Path root;

    DataDir(Path root) {
        this.root = root.toAbsolutePath();
    }

    Path checkpoints() {
        return root.resolve("checkpoints");
    }

    Path savepoints() {
        return root.resolve("savepoints");
    }

    /** For files that are of no use to another run. */
    Path scratch() {
        return root.resolve("scratch");
    }

    /** A run that was killed leaves them behind. */
    void deleteScratch() throws IOException {
        for (Path file : below(scratch()).sorted(Comparator.reverseOrder()).toList()) {
            Files.delete(file);
        }
    }

    /** The newest complete checkpoint or savepoint, if there is one. */
    Optional<Path> newest() throws IOException {
        return Stream.concat(below(checkpoints()), below(savepoints()))
                .filter(file -> file.endsWith(METADATA))
                .max(Comparator.comparing(DataDir::written))
                .map(Path::getParent);
    }

    private static Stream<Path> below(Path directory) throws IOException {
        if (!Files.isDirectory(directory)) {
            return Stream.empty();
        }
        try (Stream<Path> files = Files.walk(directory)) {
            return files.toList().stream();
        }
    }

    private static FileTime written(Path file) {
        try {
            return Files.getLastModifiedTime(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
