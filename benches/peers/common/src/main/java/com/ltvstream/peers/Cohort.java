package com.ltvstream.peers;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
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

    public void write(DataOutputStream out) throws IOException {
        out.writeLong(customers);
        out.writeInt(ages.size());
        for (Map.Entry<Integer, Sums> entry : ages.entrySet()) {
            Sums sums = entry.getValue();
            out.writeInt(entry.getKey());
            out.writeLong(sums.gross);
            out.writeLong(sums.proceeds);
            out.writeLong(sums.net);
            out.writeLong(sums.refundedGross);
            out.writeLong(sums.refundedProceeds);
            out.writeLong(sums.refundedNet);
            out.writeLong(sums.payments);
        }
    }

    public static Cohort read(DataInputStream in) throws IOException {
        Cohort cohort = new Cohort();
        cohort.customers = in.readLong();
        for (int left = in.readInt(); left > 0; left--) {
            Sums sums = new Sums();
            cohort.ages.put(in.readInt(), sums);
            sums.gross = in.readLong();
            sums.proceeds = in.readLong();
            sums.net = in.readLong();
            sums.refundedGross = in.readLong();
            sums.refundedProceeds = in.readLong();
            sums.refundedNet = in.readLong();
            sums.payments = in.readLong();
        }
        return cohort;
    }
}
