"""All settings, read from the environment by `config.env`; a fresh checkout needs none of them.

Development is assumed until SECRET_KEY is given (or DEBUG=0). With DEBUG on, Django answers local
host names only, so a server that was never configured serves nobody else.
"""

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config import logs, queues
from config.database import context_urls, database_settings
from config.embedded import Embedded
from config.env import (
    env_bool,
    env_choice,
    env_int,
    env_list,
    env_optional,
    env_seconds,
    env_secret,
    env_text,
)
from config.schedule import beat_schedule
from config.timing import saga_timing

BASE_DIR = Path(__file__).resolve().parent.parent

# -- what kind of run this is ----------------------------------------------------------------

DEBUG = env_bool("DEBUG", default=env_optional("SECRET_KEY") is None)
CONCORD_PROFILE = env_choice("CONCORD_PROFILE", "", ("", "fast"))
FAST = CONCORD_PROFILE == "fast"
SECRET_KEY = env_secret("SECRET_KEY", development="development-only" if DEBUG else None)
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS")
if not (DEBUG or ALLOWED_HOSTS):
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS is not set and DEBUG is off: set it to the host names of the site, "
        "separated by commas, or DEBUG=1 for development"
    )

# -- applications ----------------------------------------------------------------------------

INSTALLED_APPS = [
    "config.apps.ConfigConfig",
    "orders.apps.OrdersConfig",
    "billing.apps.BillingConfig",
    "payments.apps.PaymentsConfig",
    "sagas.apps.SagasConfig",
    "django_celery_results",
    "sagas.site.OperationsConfig",  # django.contrib.admin, with a site of our own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    # First, so that a request that the next one refuses is answered with it too.
    "config.security.ContentSecurityPolicy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.correlation.CorrelateRequests",
    "config.refusing.DatabaseAway",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ADMIN_PATH = env_text("ADMIN_PATH", "admin").strip("/") + "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

# -- database: one schema for each context, one alias unless detached (config/postgresql) ------

EMBEDDED = Embedded()
CONTEXTS = ("orders", "billing", "payments")
SCHEMAS = {label: label for label in (*CONTEXTS, "sagas")}
SEARCH_PATH = ("public", *SCHEMAS.values(), "audit")
DATABASE_URL = env_text("DATABASE_URL", EMBEDDED.database_url)
SIMULATOR_DATABASE_URL = env_optional("SIMULATOR_DATABASE_URL")
# A context whose address is given has a database of its own (docs/detached.md).
CONTEXT_URLS = context_urls(
    DATABASE_URL,
    CONTEXTS,
    detached=env_choice("CONTEXT_DATABASES", "shared", ("shared", "detached")) == "detached",
    given={context: env_optional(f"{context.upper()}_DATABASE_URL") for context in CONTEXTS},
)
CONTEXT_DATABASES = {context: context for context in CONTEXT_URLS}
DATABASE_ROUTERS = ["config.postgresql.router.ContextRouter"]
DATABASES = {
    alias: database_settings(
        name,
        url,
        max_age=env_int("CONN_MAX_AGE", 600),
        # Off for a pooler that cannot follow them: PgBouncer before 1.21, or without
        # max_prepared_statements.
        prepared=env_bool("PREPARED_STATEMENTS", default=True),
    )
    for alias, name, url in (
        ("default", "DATABASE_URL", DATABASE_URL),
        *((own, f"{own.upper()}_DATABASE_URL", url) for own, url in CONTEXT_URLS.items()),
    )
}
# Set on the role in the database by `migrate`, in milliseconds, and by it lifted for itself.
SESSION_LIMITS = {
    "statement_timeout": env_seconds("STATEMENT_TIMEOUT", 15),
    "lock_timeout": env_seconds("LOCK_TIMEOUT", 5),
    "idle_in_transaction_session_timeout": env_seconds("IDLE_IN_TRANSACTION_TIMEOUT", 30),
    "client_connection_check_interval": env_seconds("CLIENT_CHECK_INTERVAL", 1),
}
CONTEXT_ROLES = env_bool("CONTEXT_ROLES", default=False)
# For going back to a release that does not know every saga that lives: sagas.E011.
SILENCED_SYSTEM_CHECKS = env_list("SILENCED_SYSTEM_CHECKS")

# -- Redis, Celery -----------------------------------------------------------------------------

REDIS_URL = env_text("REDIS_URL", EMBEDDED.redis_url)
RELAY_STREAM = env_optional("RELAY_STREAM")  # events for readers outside, too
STEP_QUEUES = env_choice("STEP_QUEUES", "shared", ("shared", "per-context"))
PAYMENT_PROVIDER_TIMEOUT = env_seconds("PAYMENT_PROVIDER_TIMEOUT", 1.5 if FAST else 10)
SAGAS = {**saga_timing(fast=FAST), "CALL_TIMEOUT": PAYMENT_PROVIDER_TIMEOUT}
CELERY_BROKER_URL = env_text(
    "CELERY_BROKER_URL", queues.broker_from(env_text("REDIS_URL", EMBEDDED.broker_url))
)
CELERY_BROKER_TRANSPORT_OPTIONS = queues.transport_options(CELERY_BROKER_URL, SAGAS["VISIBILITY"])
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
# A broker without memory refuses; a worker that took it for the end would take its pool along.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_RESULT_BACKEND = "config.results.Results"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_IGNORE_RESULT = True  # the journal of the sagas is the record
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = True
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False  # the sweeper is quicker than any visibility time-out
CELERY_TASK_PUBLISH_RETRY = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
CELERY_TASK_DEFAULT_QUEUE = queues.DEFAULT[STEP_QUEUES]
CELERY_TASK_QUEUES = queues.celery_queues(STEP_QUEUES, CONTEXTS)
CELERY_TASK_ROUTES = queues.routes(STEP_QUEUES)
CELERY_TASK_SOFT_TIME_LIMIT = SAGAS["STEP_TIMEOUT"]
CELERY_TASK_TIME_LIMIT = SAGAS["HARD_LIMIT"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 2.0 if FAST else 5.0
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TIMEZONE = "UTC"
CLOUDEVENTS_EXCHANGE = env_text("CLOUDEVENTS_EXCHANGE", "")
CELERY_BEAT_SCHEDULE = beat_schedule(SAGAS, outside=bool(CLOUDEVENTS_EXCHANGE))
# Without it Celery closes the connection before and after every task, whatever CONN_MAX_AGE says.
CELERY_DB_REUSE_MAX = 1_000_000_000

# Events for consumers that are not ours (docs/outbox.md); off as long as there is no name.
CLOUDEVENTS_SOURCE = env_text("CLOUDEVENTS_SOURCE", "urn:concord:shop")
CLOUDEVENTS_BROKER_URL = env_text("CLOUDEVENTS_BROKER_URL", CELERY_BROKER_URL)

# -- payment provider --------------------------------------------------------------------------

PAYMENT_PROVIDER = env_choice("PAYMENT_PROVIDER", "simulator", ("simulator",))
PAYMENT_PROVIDER_URL = env_text("PAYMENT_PROVIDER_URL", "http://127.0.0.1:8100")
PAYMENT_PROVIDER_KEY = env_secret(
    "PAYMENT_PROVIDER_KEY", development="development-key" if DEBUG else None
)
WEBHOOK_SECRETS = env_list("WEBHOOK_SECRETS", ["development-webhook"] if DEBUG else [])
if not WEBHOOK_SECRETS:
    raise ImproperlyConfigured(
        "WEBHOOK_SECRETS is not set and DEBUG is off: set it to the secrets that sign the "
        "provider's webhooks, newest first, separated by commas"
    )

# -- language, time, static files, log -----------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
# In development files are served from where they are.
STATIC_ROOT = None if DEBUG else env_text("STATIC_ROOT", str(BASE_DIR / "var" / "static"))
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or FAST
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
LOGGING = logs.configuration(level=env_text("LOG_LEVEL", "INFO"))

# -- security ------------------------------------------------------------------------------------

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
if FAST:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
HTTPS = env_bool("HTTPS", default=not (DEBUG or FAST))
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
X_FRAME_OPTIONS = "DENY"
# Only behind a proxy that removes the header from what it lets in.
if env_bool("TRUST_FORWARDED_PROTO", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
