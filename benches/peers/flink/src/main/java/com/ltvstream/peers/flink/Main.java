package com.ltvstream.peers.flink;

import com.ltvstream.peers.Arguments;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointException;
import org.apache.flink.runtime.checkpoint.CheckpointFailureReason;
import org.apache.flink.util.ExceptionUtils;

/**
 * The benchmark's job as an Apache Flink job in a local cluster inside this process.
 *
 * <p>The job is not bounded, although its input is: Flink deletes the checkpoints of a job that
 * ends by itself. It is stopped with a savepoint instead, once all records are taken. That drains
 * the job, so that what is left to publish goes into the last transaction, and commits it.
 */
public final class Main {
    private static final long RETRY_MILLIS = 20;

    private Main() { }

    public static void main(String[] arguments) {
        try {
            run(Arguments.parse(arguments));
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    private static void run(Arguments arguments) throws Exception {
        DataDir dataDir = new DataDir(arguments.dataDir());
        dataDir.deleteScratch();
        JobClient job = new Job(arguments, dataDir).start();
        CompletableFuture<?> end = job.getJobExecutionResult();
        CompletableFuture.anyOf(Progress.whenAllTaken(), end).get();
        stop(job, dataDir.savepoints());
        end.get();
        System.out.println("done");
    }

    private static void stop(JobClient job, Path savepoints) throws Exception {
        while (true) {
            try {
                job.stopWithSavepoint(
                        true, savepoints.toUri().toString(), SavepointFormatType.NATIVE).get();
                return;
            } catch (ExecutionException e) {
                if (!isStarting(e)) {
                    throw e;
                }
                Thread.sleep(RETRY_MILLIS);
            }
        }
    }

    /** After a restart, the last records may be taken before all tasks run. */
    private static boolean isStarting(ExecutionException e) {
        return ExceptionUtils.findThrowable(e, CheckpointException.class)
                .map(CheckpointException::getCheckpointFailureReason)
                .filter(CheckpointFailureReason.NOT_ALL_REQUIRED_TASKS_RUNNING::equals)
                .isPresent();
    }
}
