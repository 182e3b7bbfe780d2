package com.ltvstream.peers;

import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.util.Map;
import java.util.TreeMap;

/** A cohort's customers, and its sums by age in days. */
public final class Cohort {
    public long customers;
    public final TreeMap<Integer, Sums> ages = new TreeMap<>();

    /** Adds sums to those of an age, so many times. */
    public void add(int age, Sums sums, int times) {
        ages.computeIfAbsent(age, unused -> new Sums()).add(sums, times);
    }

    /** The key under which a cohort is published. */
    public static byte[] outputKey(int day) {
        return LocalDate.ofEpochDay(day).toString().getBytes(StandardCharsets.US_ASCII);
    }

    /** The cohort as it is published. */
    public byte[] outputValue() {
        StringBuilder json = new StringBuilder(64 + 64 * ages.size());
        json.append("{\"customers\":").append(customers).append(",\"ages\":[");
        String separator = "";
        for (Map.Entry<Integer, Sums> entry : ages.entrySet()) {
            Sums sums = entry.getValue();
            if (sums.isZero()) {
                continue;
            }
            json.append(separator).append('[').append(entry.getKey())
                    .append(',').append(sums.gross)
                    .append(',').append(sums.proceeds)
                    .append(',').append(sums.net)
                    .append(',').append(sums.refundedGross)
                    .append(',').append(sums.refundedProceeds)
                    .append(',').append(sums.refundedNet)
                    .append(',').append(sums.payments).append(']');
            separator = ",";
        }
        return json.append("]}").toString().getBytes(StandardCharsets.US_ASCII);
    }
}
