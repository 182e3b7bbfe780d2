package com.ltvstream.peers.flink;

import com.ltvstream.peers.Cohort;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.api.TimerService;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Adds up changes, and gives out the day and the published value of each cohort that changed. */
final class Cohorts extends KeyedProcessFunction<Integer, long[], Tuple2<Integer, byte[]>> {
    static final TypeInformation<Tuple2<Integer, byte[]>> OUTPUT =
            Types.TUPLE(Types.INT, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO);

    private static final long serialVersionUID = 1;

    /** From a cohort's first change to its publication. */
    private static final long PUBLISH_AFTER_MILLIS = 1000;

    /** Event time does not advance in this job but once, to this, at the end of the input. */
    private static final long END_OF_INPUT = Long.MAX_VALUE;

    /** By age, what is to be added to an empty cohort; see {@link Change#total}. */
    private transient MapState<Integer, long[]> totals;

    /** The same by day, once used: so that a change is one write, and nothing is read. */
    private transient Map<Integer, Cohort> cohorts;

    /** Days of cohorts with timers, of those set since the start: one more timer does no harm. */
    private transient Set<Integer> changed;

    @Override
    public void open(OpenContext context) {
        totals = getRuntimeContext().getMapState(new MapStateDescriptor<>(
                "totals", Types.INT, PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO));
        cohorts = new HashMap<>();
        changed = new HashSet<>();
    }

    @Override
    public void processElement(long[] change, Context context,
            Collector<Tuple2<Integer, byte[]>> out) throws Exception {
        int day = context.getCurrentKey();
        int age = Change.age(change);
        Cohort cohort = cohort(day);
        Change.add(change, cohort);
        totals.put(age, Change.total(day, age, cohort));
        if (changed.add(day)) {
            TimerService timers = context.timerService();
            timers.registerProcessingTimeTimer(
                    timers.currentProcessingTime() + PUBLISH_AFTER_MILLIS);
            timers.registerEventTimeTimer(END_OF_INPUT);
        }
    }

    @Override
    public void onTimer(long time, OnTimerContext context,
            Collector<Tuple2<Integer, byte[]>> out) throws Exception {
        int day = context.getCurrentKey();
        context.timerService().deleteEventTimeTimer(END_OF_INPUT);
        changed.remove(day);
        out.collect(Tuple2.of(day, cohort(day).outputValue()));
    }

    /** The cohort of the current key. */
    private Cohort cohort(int day) throws Exception {
        Cohort cohort = cohorts.get(day);
        if (cohort == null) {
            cohort = new Cohort();
            for (long[] total : totals.values()) {
                Change.add(total, cohort);
            }
            cohorts.put(day, cohort);
        }
        return cohort;
    }
}
