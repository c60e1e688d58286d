"""The command line. Nothing else imports it; heavy imports happen inside the commands."""
