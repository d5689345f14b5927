-- Everything comes with the extension.
CREATE EXTENSION ecommerce;
