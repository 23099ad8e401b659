// A function without a body, as newLogDB, needs a file of this kind in its package.
