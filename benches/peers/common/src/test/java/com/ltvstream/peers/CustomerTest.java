package com.ltvstream.peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class CustomerTest {
    private final Map<Integer, Cohort> cohorts = new TreeMap<>();
    private Customer customer = new Customer();

    private final Customer.Changes changes = new Customer.Changes() {
        @Override
        public void customer(int cohortDay, int by) {
            cohorts.computeIfAbsent(cohortDay, unused -> new Cohort()).customers += by;
        }

        @Override
        public void sums(int cohortDay, int age, Sums sums, int times) {
            cohorts.computeIfAbsent(cohortDay, unused -> new Cohort()).add(age, sums, times);
        }
    };

    private boolean take(String id, Kind kind, int day, long gross, String refersTo) {
        customer = Customer.of(customer.toBytes());
        return customer.take(
                new Event("c", id, kind, false, day, gross, gross, gross, refersTo), changes);
    }

    private String published(int day) {
        return new String(cohorts.get(day).outputValue(), StandardCharsets.US_ASCII);
    }

    @Test
    void aCustomerMovesWithItsEarliestPayment() {
        take("r", Kind.REFUND, 12, 3, null);
        take("b", Kind.RENEWAL, 10, 5, null);
        assertFalse(take("b", Kind.RENEWAL, 10, 5, null), "repeated");
        assertEquals("{\"customers\":1,\"ages\":[[0,5,5,5,0,0,0,1],[2,0,0,0,3,3,3,0]]}",
                published(10));
        take("a", Kind.PURCHASE, 7, 8, null);
        assertEquals("{\"customers\":0,\"ages\":[]}", published(10));
        assertEquals("{\"customers\":1,\"ages\":"
                + "[[0,8,8,8,0,0,0,1],[3,5,5,5,0,0,0,1],[5,0,0,0,3,3,3,0]]}", published(7));
        take("v", Kind.VOID, 20, 0, "a");
        assertEquals("{\"customers\":0,\"ages\":[]}", published(7));
        assertEquals("{\"customers\":1,\"ages\":[[0,5,5,5,0,0,0,1],[2,0,0,0,3,3,3,0]]}",
                published(10));
    }

    @Test
    void aVoidMayComeBeforeWhatItTakesOut() {
        take("v", Kind.VOID, 20, 0, "a");
        take("a", Kind.PURCHASE, 7, 8, null);
        assertEquals(Map.of(), cohorts);
    }

    @Test
    void halvesAreRoundedToEven() {
        assertEquals(2, EventReader.convert(5, new BigDecimal("0.5")));
        assertEquals(4, EventReader.convert(7, new BigDecimal("0.5")));
    }
}
