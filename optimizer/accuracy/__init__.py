"""How far predictions are from measurements: scores of runs, decisions and whole trainings, and the scoreboard."""
