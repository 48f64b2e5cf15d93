"""What a run is and how it goes on: pure, without a server, a clock or a thread."""
