package com.ltvstream.peers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.File;
import java.io.IOException;
import java.time.LocalDate;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.junit.jupiter.api.Test;

class EventReaderTest {
    private static final int DAY = (int) LocalDate.parse("2024-01-31").toEpochDay();

    /** Reads an event that a generic writer wrote. */
    private static Event read(String kind, Map<String, Object> fields) throws IOException {
        Schema schema = new Schema.Parser().parse(
                new File("../../../schemas/billing_event.v1.avsc"));
        GenericRecordBuilder event = new GenericRecordBuilder(schema)
                .set("event_id", "e").set("app_id", "a").set("customer_id", "c")
                .set("kind", new GenericData.EnumSymbol(schema.getField("kind").schema(), kind))
                .set("occurred_at", DAY * 86_400_000_000L + 1);
        fields.forEach(event::set);
        var bytes = new BinaryMessageEncoder<>(GenericData.get(), schema).encode(event.build());
        byte[] value = new byte[bytes.remaining()];
        bytes.get(value);
        return new EventReader().read(value);
    }

    @Test
    void amountsLeftOutAreThoseBefore() throws IOException {
        assertEquals(new Event("c", "e", Kind.RENEWAL, false, DAY, 10, 8, 8, null),
                read("renewal", Map.of("gross_micros", 20L, "proceeds_micros", 16L,
                        "currency", "EUR", "reporting_rate", "0.5", "period", "P1M")));
    }

    @Test
    void aVoidNamesAnotherEvent() throws IOException {
        assertEquals(new Event("c", "e", Kind.VOID, false, DAY, 0, 0, 0, "other"),
                read("void", Map.of("refers_to", "other", "attributes", Map.of("k", "v"))));
    }
}
