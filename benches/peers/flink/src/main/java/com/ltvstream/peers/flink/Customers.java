package com.ltvstream.peers.flink;

import com.ltvstream.peers.Customer;
import com.ltvstream.peers.Event;
import com.ltvstream.peers.Sums;
import java.io.IOException;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Keeps the customers, and says what each event changes in the cohorts; see {@link Change}. */
final class Customers extends KeyedProcessFunction<String, Event, long[]> {
    private static final long serialVersionUID = 1;

    private transient ValueState<byte[]> stored;

    @Override
    public void open(OpenContext context) {
        stored = getRuntimeContext().getState(new ValueStateDescriptor<>(
                "customer", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
    }

    @Override
    public void processElement(Event event, Context context, Collector<long[]> out)
            throws IOException {
        Customer customer = Customer.of(stored.value());
        boolean isNew = customer.take(event, new Customer.Changes() {
            @Override
            public void customer(int cohortDay, int by) {
                out.collect(Change.ofCustomers(cohortDay, by));
            }

            @Override
            public void sums(int cohortDay, int age, Sums sums, int times) {
                out.collect(Change.ofSums(cohortDay, age, sums, times));
            }
        });
        if (isNew) {
            stored.update(customer.toBytes());
        }
    }
}
