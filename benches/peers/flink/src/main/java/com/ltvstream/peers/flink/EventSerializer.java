package com.ltvstream.peers.flink;

import com.ltvstream.peers.Event;
import com.ltvstream.peers.Kind;
import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.types.StringValue;

/** Events on their way between tasks: the fields one after the other. */
public final class EventSerializer extends TypeSerializerSingleton<Event> {
    static final EventSerializer INSTANCE = new EventSerializer();

    private static final long serialVersionUID = 1;
    private static final Kind[] KINDS = Kind.values();

    @Override
    public void serialize(Event event, DataOutputView out) throws IOException {
        StringValue.writeString(event.customerId(), out);
        StringValue.writeString(event.eventId(), out);
        out.writeByte(event.kind().ordinal());
        out.writeBoolean(event.isSandbox());
        out.writeInt(event.day());
        out.writeLong(event.gross());
        out.writeLong(event.proceeds());
        out.writeLong(event.net());
        StringValue.writeString(event.refersTo(), out);
    }

    @Override
    public Event deserialize(DataInputView in) throws IOException {
        return new Event(
                StringValue.readString(in),
                StringValue.readString(in),
                KINDS[in.readByte()],
                in.readBoolean(),
                in.readInt(),
                in.readLong(),
                in.readLong(),
                in.readLong(),
                StringValue.readString(in));
    }

    @Override
    public Event deserialize(Event reuse, DataInputView in) throws IOException {
        return deserialize(in);
    }

    @Override
    public void copy(DataInputView in, DataOutputView out) throws IOException {
        serialize(deserialize(in), out);
    }

    @Override
    public boolean isImmutableType() {
        return true;
    }

    @Override
    public Event copy(Event event) {
        return event;
    }

    @Override
    public Event copy(Event event, Event reuse) {
        return event;
    }

    /** Null: there is nothing to reuse in an immutable type. */
    @Override
    public Event createInstance() {
        return null;
    }

    /** Of no fixed length. */
    @Override
    public int getLength() {
        return -1;
    }

    @Override
    public TypeSerializerSnapshot<Event> snapshotConfiguration() {
        return new Snapshot();
    }

    /** What Flink keeps of a serializer beside what it wrote. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<Event> {
        public Snapshot() {
            super(() -> INSTANCE);
        }
    }
}
