"""``impala-transfer``: the rows of a query arrive in another cluster, as files.

It makes the joblist of an export and works it off. The Python classes of the Impala Transfer Tool
are in ``jobtool.compat.impala_transfer``.
"""
