// Zenovay's answer as its page describes it: no field is optional, and none may be null.

export interface LtvPeriod {
  period: number;
  cumulative_revenue_per_customer: number;
}

export interface LtvCohort {
  cohort_date: string;
  customers: number;
  periods: LtvPeriod[];
}

export interface LtvAnswer {
  success: true;
  data: {
    cohorts: LtvCohort[];
    summary: {
      average_ltv_30d: number;
      average_ltv_90d: number;
    };
  };
  timestamp: string;
}
