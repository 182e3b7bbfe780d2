package com.ltvstream.peers.flink;

import com.ltvstream.peers.Cohort;
import com.ltvstream.peers.Sums;

/**
 * What is added to a cohort, as an array of longs, which Flink stores and sends without reflection:
 * day of the cohort, age and seven sums; or day, {@link #CUSTOMERS} and a number of customers.
 */
final class Change {
    /** In place of an age. Ages may be below 0: a refund can be older than the first payment. */
    private static final int CUSTOMERS = Integer.MIN_VALUE;

    private Change() { }

    static long[] ofCustomers(int cohortDay, long by) {
        return new long[] {cohortDay, CUSTOMERS, by};
    }

    static long[] ofSums(int cohortDay, int age, Sums sums, int times) {
        return new long[] {
            cohortDay,
            age,
            times * sums.gross,
            times * sums.proceeds,
            times * sums.net,
            times * sums.refundedGross,
            times * sums.refundedProceeds,
            times * sums.refundedNet,
            times * sums.payments,
        };
    }

    static int cohortDay(long[] change) {
        return (int) change[0];
    }

    static int age(long[] change) {
        return (int) change[1];
    }

    /** All that was added at an age, or to the number of customers. */
    static long[] total(int cohortDay, int age, Cohort cohort) {
        return age == CUSTOMERS
                ? ofCustomers(cohortDay, cohort.customers)
                : ofSums(cohortDay, age, cohort.ages.get(age), 1);
    }

    static void add(long[] change, Cohort cohort) {
        if (age(change) == CUSTOMERS) {
            cohort.customers += change[2];
            return;
        }
        Sums sums = new Sums();
        sums.gross = change[2];
        sums.proceeds = change[3];
        sums.net = change[4];
        sums.refundedGross = change[5];
        sums.refundedProceeds = change[6];
        sums.refundedNet = change[7];
        sums.payments = change[8];
        cohort.add(age(change), sums, 1);
    }
}
