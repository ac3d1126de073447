// create.js URL ACCOUNT CONTAINER: makes a container of Azure Blob Storage. The account's key is in the environment.
const { BlobServiceClient, StorageSharedKeyCredential } = require("@azure/storage-blob");

const [url, account, container] = process.argv.slice(2);
const credential = new StorageSharedKeyCredential(account, process.env.AZURE_STORAGE_ACCOUNT_KEY);
new BlobServiceClient(`${url}/${account}`, credential).createContainer(container).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
