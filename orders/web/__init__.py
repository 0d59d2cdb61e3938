"""The pages for customers: rendered here, working without JavaScript.

A page changes nothing; every form that does carries a hidden key, so that sending it twice does
its work once, and is answered by sending the browser on.
"""
