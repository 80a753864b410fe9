"""What earlier versions left in a run's directory: how they wrote a step, and what is doubtful."""
