from lifted.celery import app as app  # so that the web finds the broker too
