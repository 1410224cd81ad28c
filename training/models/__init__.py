"""The networks' training: one loop, its losses and schedules."""
