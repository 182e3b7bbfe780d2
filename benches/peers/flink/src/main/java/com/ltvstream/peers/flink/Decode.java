package com.ltvstream.peers.flink;

import com.ltvstream.peers.Event;
import com.ltvstream.peers.EventReader;
import java.util.List;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;

/** Decodes the records of the input, and counts them, over restarts, to know when all are taken. */
final class Decode extends RichMapFunction<byte[], Event> implements CheckpointedFunction {
    private static final long serialVersionUID = 1;

    private final long records;

    private transient EventReader reader;
    private transient long taken;
    private transient ListState<Long> stored;

    /** @param records how many there are */
    Decode(long records) {
        this.records = records;
    }

    @Override
    public void initializeState(FunctionInitializationContext context) throws Exception {
        stored = context.getOperatorStateStore()
                .getListState(new ListStateDescriptor<>("taken", Types.LONG));
        for (long before : stored.get()) {
            taken += before;
        }
    }

    @Override
    public void open(OpenContext context) {
        reader = new EventReader();
        if (taken == records) {
            Progress.ready();
            Progress.allTaken();
        }
    }

    @Override
    public Event map(byte[] record) {
        Progress.ready();
        Event event = reader.read(record);
        taken++;
        if (taken == records) {
            Progress.allTaken();
        }
        return event;
    }

    @Override
    public void snapshotState(FunctionSnapshotContext context) throws Exception {
        stored.update(List.of(taken));
    }
}
