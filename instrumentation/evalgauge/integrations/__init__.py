"""What plugs evalgauge into runners and model clients that do not know it. Nothing here is imported on its own."""
