"""What ``evalgauge demo`` simulates: the screens and the course of a made-up evaluation."""
