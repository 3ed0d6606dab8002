"""`fastprop bench`: workloads, contenders in processes of their own, measurement, reports."""
