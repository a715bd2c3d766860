"""One command's measuring, from request to stored records, cell by cell."""
