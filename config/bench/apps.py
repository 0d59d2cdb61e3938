"""The benchmark as a Django app, which `config.bench.settings` alone installs."""

from django.apps import AppConfig


class BenchConfig(AppConfig):
    """Brings the benchmark's saga, steps and tables."""

    name = "config.bench"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let billing hear what the benchmark tells."""
        from config.bench import news

        news.listen()
