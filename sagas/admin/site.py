"""What the stock admin site is called, and the page it opens with."""

from django.contrib import admin

admin.site.site_header = "Concord operations"
admin.site.site_title = "Concord operations"
admin.site.index_title = "Operations"
admin.site.index_template = "admin/sagas/index.html"
