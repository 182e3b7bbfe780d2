-- What is kept. Days are days since 1970-01-01, money is in micro-units of US dollars.

-- Role: p payment, r refund, v void, o other. Columns are in an order that needs no padding.
CREATE TABLE IF NOT EXISTS events (
    record_offset bigint NOT NULL,
    gross bigint,
    proceeds bigint,
    net bigint,
    day int NOT NULL,
    role "char" NOT NULL,
    customer_id text NOT NULL,
    event_id text NOT NULL,
    refers_to text,
    PRIMARY KEY (customer_id, event_id)
);

-- Events that a void takes out, and the offset of the first such void. Few.
CREATE TABLE IF NOT EXISTS voids (
    customer_id text NOT NULL,
    event_id text NOT NULL,
    record_offset bigint NOT NULL,
    PRIMARY KEY (customer_id, event_id)
);

-- Customers with payments, and their cohort.
CREATE TABLE IF NOT EXISTS customers (
    customer_id text PRIMARY KEY,
    cohort_day int NOT NULL
);

-- Rows are updated all the time: with room left in a page the new version needs no index entry.
CREATE TABLE IF NOT EXISTS cohort_sums (
    cohort_day int NOT NULL,
    age int NOT NULL,
    gross bigint NOT NULL,
    proceeds bigint NOT NULL,
    net bigint NOT NULL,
    refunded_gross bigint NOT NULL,
    refunded_proceeds bigint NOT NULL,
    refunded_net bigint NOT NULL,
    payments bigint NOT NULL,
    PRIMARY KEY (cohort_day, age)
) WITH (fillfactor = 50);

-- A cohort's changed_until is the end of the last batch that changed it: what has to be published
-- are the cohorts in which it equals the progress.
CREATE TABLE IF NOT EXISTS cohorts (
    cohort_day int PRIMARY KEY,
    customers bigint NOT NULL,
    changed_until bigint NOT NULL
) WITH (fillfactor = 50);

-- One row.
CREATE TABLE IF NOT EXISTS progress (
    next_offset bigint NOT NULL
);
INSERT INTO progress SELECT 0 WHERE NOT EXISTS (SELECT FROM progress);

-- A batch as it was read.
CREATE TEMPORARY TABLE staged (LIKE events) ON COMMIT DELETE ROWS;

-- New payments, refunds and voids, with the customer's cohort before the batch. Recounted are all
-- of a customer whose cohort may change.
CREATE TEMPORARY TABLE fresh (
    LIKE events,
    cohort_day int,
    is_recounted boolean NOT NULL
) ON COMMIT DELETE ROWS;

-- Old and new payments and refunds of customers whose cohort may change.
CREATE TEMPORARY TABLE recounted (
    gross bigint NOT NULL,
    proceeds bigint NOT NULL,
    net bigint NOT NULL,
    day int NOT NULL,
    cohort_before int,
    cohort_after int,
    role "char" NOT NULL,
    counts_before boolean NOT NULL,
    counts_after boolean NOT NULL,
    customer_id text NOT NULL
) ON COMMIT DELETE ROWS;

-- Takes in what is staged: the records from first_offset up to next_offset. Joins look rows up by
-- key, so that a batch costs by the customers in it, not by the customers there are.
CREATE OR REPLACE FUNCTION take_batch(first_offset bigint, next_offset bigint) RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_seqscan = off
AS $$
BEGIN
    -- Sorted, so that neighbours in the index are inserted together, and the first copy wins.
    WITH inserted AS (
        INSERT INTO events
        SELECT * FROM staged ORDER BY customer_id, event_id, record_offset
        ON CONFLICT DO NOTHING
        RETURNING *
    )
    INSERT INTO fresh
    SELECT i.*, c.cohort_day,
        bool_or(i.role = 'v' OR i.role = 'p' AND (c.cohort_day IS NULL OR i.day < c.cohort_day))
            OVER (PARTITION BY customer_id)
    FROM inserted i LEFT JOIN customers c USING (customer_id)
    WHERE i.role <> 'o';

    INSERT INTO voids
    SELECT customer_id, refers_to, record_offset FROM fresh WHERE role = 'v'
    ON CONFLICT DO NOTHING;

    -- "OFFSET 0" keeps the planner from going through all events instead.
    INSERT INTO recounted
    SELECT e.gross, e.proceeds, e.net, e.day, c.cohort_day,
        min(e.day) FILTER (WHERE e.role = 'p' AND v.event_id IS NULL)
            OVER (PARTITION BY customer_id),
        e.role,
        e.record_offset < first_offset
            AND (v.event_id IS NULL OR v.record_offset >= first_offset),
        v.event_id IS NULL,
        customer_id
    FROM (SELECT DISTINCT customer_id, cohort_day FROM fresh WHERE is_recounted) c
        CROSS JOIN LATERAL (
            SELECT event_id, record_offset, day, role, gross, proceeds, net
            FROM events
            WHERE events.customer_id = c.customer_id AND role IN ('p', 'r')
            OFFSET 0
        ) e
        LEFT JOIN voids v USING (customer_id, event_id);

    INSERT INTO customers
    SELECT DISTINCT customer_id, cohort_after FROM recounted
    WHERE cohort_after IS DISTINCT FROM cohort_before AND cohort_after IS NOT NULL
    ON CONFLICT (customer_id) DO UPDATE SET cohort_day = excluded.cohort_day;

    DELETE FROM customers WHERE customer_id IN (
        SELECT customer_id FROM recounted WHERE cohort_after IS NULL AND cohort_before IS NOT NULL
    );

    WITH change AS (
        SELECT f.cohort_day, f.day, f.role, f.gross, f.proceeds, f.net, 1 AS times
        FROM fresh f LEFT JOIN voids v USING (customer_id, event_id)
        WHERE NOT f.is_recounted AND f.cohort_day IS NOT NULL AND v.event_id IS NULL
        UNION ALL
        SELECT cohort_before, day, role, gross, proceeds, net, -1
        FROM recounted WHERE counts_before AND cohort_before IS NOT NULL
        UNION ALL
        SELECT cohort_after, day, role, gross, proceeds, net, 1
        FROM recounted WHERE counts_after AND cohort_after IS NOT NULL
    ), changed AS (
        INSERT INTO cohort_sums AS s
        SELECT cohort_day, day - cohort_day,
            coalesce(sum(times * gross) FILTER (WHERE role = 'p'), 0),
            coalesce(sum(times * proceeds) FILTER (WHERE role = 'p'), 0),
            coalesce(sum(times * net) FILTER (WHERE role = 'p'), 0),
            coalesce(sum(times * gross) FILTER (WHERE role = 'r'), 0),
            coalesce(sum(times * proceeds) FILTER (WHERE role = 'r'), 0),
            coalesce(sum(times * net) FILTER (WHERE role = 'r'), 0),
            coalesce(sum(times) FILTER (WHERE role = 'p'), 0)
        FROM change GROUP BY 1, 2
        ON CONFLICT (cohort_day, age) DO UPDATE SET
            gross = s.gross + excluded.gross,
            proceeds = s.proceeds + excluded.proceeds,
            net = s.net + excluded.net,
            refunded_gross = s.refunded_gross + excluded.refunded_gross,
            refunded_proceeds = s.refunded_proceeds + excluded.refunded_proceeds,
            refunded_net = s.refunded_net + excluded.refunded_net,
            payments = s.payments + excluded.payments
        RETURNING cohort_day
    ), moved AS (
        SELECT DISTINCT customer_id, cohort_before, cohort_after FROM recounted
        WHERE cohort_before IS DISTINCT FROM cohort_after
    )
    INSERT INTO cohorts AS c
    SELECT cohort_day, sum(customers), take_batch.next_offset
    FROM (
        SELECT cohort_day, 0 AS customers FROM changed
        UNION ALL
        SELECT cohort_before, -1 FROM moved WHERE cohort_before IS NOT NULL
        UNION ALL
        SELECT cohort_after, 1 FROM moved WHERE cohort_after IS NOT NULL
    ) AS by_cohort
    GROUP BY cohort_day
    ON CONFLICT (cohort_day) DO UPDATE SET
        customers = c.customers + excluded.customers,
        changed_until = excluded.changed_until;

    UPDATE progress SET next_offset = take_batch.next_offset;
END
$$;
