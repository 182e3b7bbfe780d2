-- Cohorts and their sums by age, from all segments. Roles: p payment, r refund, v void, o other.
WITH stored AS (
    SELECT * FROM read_parquet('$segments')
), first AS (
    -- Of events with one id the first counts.
    SELECT min(record_offset) AS record_offset FROM stored GROUP BY customer_id, event_id
), event AS (
    SELECT * FROM stored SEMI JOIN first USING (record_offset) WHERE role <> 'o'
), counted AS (
    SELECT * FROM event
    WHERE role IN ('p', 'r') AND NOT EXISTS (
        SELECT 1 FROM event AS void
        WHERE void.role = 'v' AND void.customer_id = event.customer_id
            AND void.refers_to = event.event_id
    )
), customer AS (
    SELECT customer_id, min(day) AS cohort_day
    FROM counted WHERE role = 'p'
    GROUP BY customer_id
), size AS (
    SELECT cohort_day, count(*) AS customers FROM customer GROUP BY cohort_day
)
SELECT cohort_day, any_value(customers), day - cohort_day AS age,
    coalesce(sum(gross) FILTER (role = 'p'), 0)::BIGINT,
    coalesce(sum(proceeds) FILTER (role = 'p'), 0)::BIGINT,
    coalesce(sum(net) FILTER (role = 'p'), 0)::BIGINT,
    coalesce(sum(gross) FILTER (role = 'r'), 0)::BIGINT,
    coalesce(sum(proceeds) FILTER (role = 'r'), 0)::BIGINT,
    coalesce(sum(net) FILTER (role = 'r'), 0)::BIGINT,
    count(*) FILTER (role = 'p')
FROM counted JOIN customer USING (customer_id) JOIN size USING (cohort_day)
GROUP BY cohort_day, age
ORDER BY cohort_day
