package com.ltvstream.peers;

/** Sums of one age of a cohort; money in micro-units of US dollars. Changes are sums, too. */
public final class Sums {
    public long gross;
    public long proceeds;
    public long net;
    public long refundedGross;
    public long refundedProceeds;
    public long refundedNet;
    public long payments;

    /** Adds the other ones, so many times. */
    public void add(Sums other, int times) {
        gross += times * other.gross;
        proceeds += times * other.proceeds;
        net += times * other.net;
        refundedGross += times * other.refundedGross;
        refundedProceeds += times * other.refundedProceeds;
        refundedNet += times * other.refundedNet;
        payments += times * other.payments;
    }

    public boolean isZero() {
        return (gross | proceeds | net | refundedGross | refundedProceeds | refundedNet | payments)
                == 0;
    }
}
